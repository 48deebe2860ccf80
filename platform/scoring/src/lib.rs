//! cameo-scoring
