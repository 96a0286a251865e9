//! Where Hayrick's volumes and names are: cluster map, placement, keys and the name database.
