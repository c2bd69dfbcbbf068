"""`statews demo`: a server, a network with faults and a client, and what becomes of them."""
