//! What users are promised, through the real binary, on both engines: one file per promise.

mod end_to_end {
    mod a_backlog_takes_no_memory;
    mod a_failed_delivery_follows_its_schedule;
    mod a_filter_chooses_events;
    mod a_folder_gives_profiles_from_the_start;
    mod a_paused_webhook_is_held_and_resumed;
    mod a_postback_is_filled_from_its_event;
    mod a_profile_of_ones_own_is_followed;
    mod a_redirect_is_an_answer;
    mod a_repeated_request_counts_once;
    mod a_restart_loses_nothing;
    mod a_rotated_secret_signs;
    mod a_server_reaches_queue_and_store_over_tls;
    mod a_starting_process_answers;
    mod an_accepted_event_is_delivered_signed;
    mod an_event_may_have_many_webhooks;
    mod an_explanation_is_what_receivers_get;
    mod data_goes_through_byte_for_byte;
    mod each_webhook_gets_its_major;
    mod events_are_held_to_their_schema;
    mod events_come_over_amqp;
    mod private_addresses_are_refused;
    mod providers_get_their_own_form;
    mod signatures_of_every_kind_are_sent;
    mod templates_shape_the_body;
    mod the_bench_measures;
    mod the_command_line_works;
    mod the_doctor_tells_what_is_wrong;
    mod the_ledger_balances;
    mod the_listener_shows_and_misbehaves;
    mod the_server_stops_in_order;
}
