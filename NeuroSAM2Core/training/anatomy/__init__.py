"""Training clips from heads made of real label maps: what is seen of a head (`view`), and the batch of every step (`clips`)."""
