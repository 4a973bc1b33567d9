//! Nothing accepted is lost, shown by ending things: one file per fault, each against the whole ledger of what was
//! sent. `POSTRIDER_TEST_SEED` repeats a run, `POSTRIDER_TEST_LONG=1` makes the runs long.

mod fault {
    mod a_bad_network_loses_nothing;
    mod a_broker_cluster_outlives_its_nodes;
    mod a_cluster_outlives_its_processes;
    mod a_crash_between_two_steps_loses_nothing;
    mod a_crash_off_the_usual_path_loses_nothing;
    mod a_crash_while_events_come_over_amqp_loses_nothing;
    mod a_crash_while_strays_are_brought_back_loses_none;
    mod a_full_disk_stops_accepting_and_loses_nothing;
    mod a_killed_server_loses_nothing;
    mod a_memory_alarm_loses_nothing;
    mod a_memory_alarm_stops_sending;
    mod a_postgres_fail_over_loses_nothing;
    mod a_postgres_outage_holds_up_no_delivery;
    mod a_rabbitmq_outage_loses_nothing;
    mod a_receiver_that_was_away_gets_everything;
    mod broker;
    mod crashing;
    mod strange_messages_harm_nobody;
    mod trial;
    mod what_falls_off_the_path_is_brought_back;
}
