"""Where trials train: in processes of Ray Tune, or in this process."""
