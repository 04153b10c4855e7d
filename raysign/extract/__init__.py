"""Videos and images to landmarks: decoding, MediaPipe, and work that survives a kill."""
