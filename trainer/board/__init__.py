"""What TensorBoard shows: event files, and what stands in them."""
