"""How good factors are: predictions, RMSE, best items, and ranking metrics."""
