"""Images that look like others: small pictures as hashes, and a search that spares most pairs."""
