"""What a service tells its operators: GET /recon/..."""
