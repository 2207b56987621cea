"""APIs whose requests may need several calls, one answer each: embeddings, rerank, moderations."""
