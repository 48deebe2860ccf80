//! cameo-pipeline
