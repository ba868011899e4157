"""What images are, and what may be done to them: pure rules, apart from the tables of records.py and their queries."""
