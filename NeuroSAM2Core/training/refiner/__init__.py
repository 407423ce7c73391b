"""Training of the mask refiner: views of heads (`samples`), the batch of every step (`batches`), the run (`trainer`)."""
