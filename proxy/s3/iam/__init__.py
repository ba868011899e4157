"""IAM: users, access keys, groups and policies of an account, by the query API."""
