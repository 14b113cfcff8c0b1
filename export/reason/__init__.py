"""The reasoner's corpus, training and evaluation."""
