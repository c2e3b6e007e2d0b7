"""The conductor: takes work from Postgres and does it on hosts, through Docker over SSH."""
