"""Training of the mask refiner: views of heads with the batch of every step (`samples`), the run (`trainer`)."""
