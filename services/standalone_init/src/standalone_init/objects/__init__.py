"""Users, roles, pools, connections and variables, as one file declares them."""
