"""Training clips from heads made of real label maps: how they are drawn (`clips`), and the batch of every step (`batches`)."""
