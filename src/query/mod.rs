//! Queries: nearest neighbours and filters, over base and log together.
