//! cameo-access
