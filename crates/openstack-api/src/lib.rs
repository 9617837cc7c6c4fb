//! What all our API servers share: error bodies, paging, microversions, policy, request ids, token checking.
