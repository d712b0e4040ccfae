"""What a trained estimator is without scikit-learn: forms of data, labels, scaling, padding, files and predictions."""
