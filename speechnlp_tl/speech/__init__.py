"""Speech: data directories, features, the hybrid DNN-HMM and its decoder."""
