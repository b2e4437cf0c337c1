"""The room of images and masks of datasets, as records, views and batches."""
