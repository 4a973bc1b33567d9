//! Input that should not have come: refused by name, without a trace and without harm, through the real binary.

mod inputs {
    mod cases;
    mod invariants;
    mod other_events;
    mod other_routes;
    mod other_webhooks;
    mod requests;
    mod running;
    mod scene;
    mod start;
    mod urls;
    mod wire;
}
