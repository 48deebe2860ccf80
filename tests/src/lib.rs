//! cameo-tests
