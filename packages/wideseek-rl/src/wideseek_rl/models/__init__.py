"""Language models as torch modules, and their folders in Hugging Face format."""
