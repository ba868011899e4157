"""One handler for each kind of resource, one function for each verb."""
