"""What the proxy offers beyond storing and fetching: each file is one feature of the pipeline."""
