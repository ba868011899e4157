"""objstore drive-audit: finds disks that fail and takes them out of service."""
