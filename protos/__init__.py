"""The wire contract of Sojourn: proto files and the code generated from them (`make proto`)."""
