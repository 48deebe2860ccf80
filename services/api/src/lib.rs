//! cameo-api
