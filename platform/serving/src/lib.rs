//! cameo-serving
