"""Training: fine-tuning on annotated volumes (`fine_tune.py`) and pretraining on synthetic ones (`pretrain.py`)."""
