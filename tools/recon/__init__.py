"""objstore recon: asks all servers of a cluster how they are."""
