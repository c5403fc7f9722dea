"""What is fitted and then asked, by id: one training or an ensemble of several."""
