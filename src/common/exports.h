/*
 * exports.h
 *		The names that firehose.so shows to other objects.
 *
 * The dynamic linker resolves a name once for the whole process: another
 * library loaded before with a `queue_read` would replace this one.  So the
 * objects show only names that begin with firehose_ (exports.map hides all
 * others), and what firehose_sender.so and the tests' modules call is listed
 * here with the name that the linker sees.  The Makefiles include this file
 * ahead of every source, so that no file can see another name.  SQL functions
 * and the workers' main functions have the prefix in the source.
 * t/008_symbols.pl compares this list with the objects.
 */
#ifndef FIREHOSE_COMMON_EXPORTS_H
#define FIREHOSE_COMMON_EXPORTS_H

/* for firehose_sender.so */
#define dead_letter_trouble					firehose_dead_letter_trouble
#define dead_letter_write					firehose_dead_letter_write
#define identity_stats_clear				firehose_identity_stats_clear
#define identity_stats_publish				firehose_identity_stats_publish
#define identity_stats_release				firehose_identity_stats_release
#define identity_stats_take					firehose_identity_stats_take
#define pipeline_name						firehose_pipeline_name
#define pipeline_reconcile					firehose_pipeline_reconcile
#define pipeline_settled					firehose_pipeline_settled
#define queue_ask_for_news					firehose_queue_ask_for_news
#define queue_mark_dropped					firehose_queue_mark_dropped
#define queue_read							firehose_queue_read
#define queue_reader_count_attempt			firehose_queue_reader_count_attempt
#define queue_reader_ends_line				firehose_queue_reader_ends_line
#define queue_reader_has_deferred			firehose_queue_reader_has_deferred
#define queue_reader_has_more				firehose_queue_reader_has_more
#define queue_reader_init					firehose_queue_reader_init
#define queue_reader_next					firehose_queue_reader_next
#define queue_reader_payload				firehose_queue_reader_payload
#define queue_reader_read_upto				firehose_queue_reader_read_upto
#define queue_reader_serve_waiters			firehose_queue_reader_serve_waiters
#define queue_reader_settle					firehose_queue_reader_settle
#define queue_reader_uncount_attempt		firehose_queue_reader_uncount_attempt
#define queue_reader_wake_at				firehose_queue_reader_wake_at
#define queue_release_stream				firehose_queue_release_stream
#define queue_rename_stream					firehose_queue_rename_stream
#define recent_announce						firehose_recent_announce
#define recent_flush_done					firehose_recent_flush_done
#define recent_flush_is_known				firehose_recent_flush_is_known
#define recent_flush_requested				firehose_recent_flush_requested
#define recent_has_flushers					firehose_recent_has_flushers
#define recent_has_waiters					firehose_recent_has_waiters
#define recent_publish						firehose_recent_publish
#define sanitize_text						firehose_sanitize_text
#define sender_allowed_endpoints			firehose_sender_allowed_endpoints
#define sender_allowed_roles				firehose_sender_allowed_roles
#define sender_ca_file						firehose_sender_ca_file
#define sender_check_extension				firehose_sender_check_extension
#define sender_config_file					firehose_sender_config_file
#define sender_connect_timeout				firehose_sender_connect_timeout
#define sender_credential_process_timeout	firehose_sender_credential_process_timeout
#define sender_credentials_file				firehose_sender_credentials_file
#define sender_credentials_grace_period		firehose_sender_credentials_grace_period
#define sender_max_connections				firehose_sender_max_connections
#define sender_must_exit					firehose_sender_must_exit
#define sender_probe_interval				firehose_sender_probe_interval
#define sender_profile						firehose_sender_profile
#define sender_request_memory				firehose_sender_request_memory
#define sender_take_recheck					firehose_sender_take_recheck
#define status_record_id					firehose_status_record_id
#define status_trouble						firehose_status_trouble
#define status_write						firehose_status_write
#define stream_cache_generation				firehose_stream_cache_generation
#define stream_get_by_id					firehose_stream_get_by_id
#define stream_is_known						firehose_stream_is_known
#define stream_options_valid_name			firehose_stream_options_valid_name
#define stream_stats_set_error				firehose_stream_stats_set_error
#define stream_stats_set_table_error			firehose_stream_stats_set_table_error
#define stream_stats_set_state				firehose_stream_stats_set_state
#define worker_connect						firehose_worker_connect
#define worker_shutdown_requested			firehose_worker_shutdown_requested
#define worker_wait							firehose_worker_wait

/* for test/modules */
#define event_relation_add_types			firehose_event_relation_add_types
#define event_relation_from_tupdesc			firehose_event_relation_from_tupdesc
#define format_find							firehose_format_find
#define json_append_row						firehose_json_append_row
#define queue_append						firehose_queue_append
#define queue_discard_database				firehose_queue_discard_database
#define queue_drop							firehose_queue_drop
#define queue_find							firehose_queue_find
#define queue_find_or_claim					firehose_queue_find_or_claim
#define queue_init							firehose_queue_init
#define queue_join_line						firehose_queue_join_line
#define queue_leave_line					firehose_queue_leave_line
#define queue_memory_size					firehose_queue_memory_size
#define queue_next_ids						firehose_queue_next_ids
#define queue_oldest						firehose_queue_oldest
#define queue_publish						firehose_queue_publish
#define queue_reserve						firehose_queue_reserve
#define queue_unreserve						firehose_queue_unreserve
#define queue_visit_pending					firehose_queue_visit_pending
#define value_guard_reset					firehose_value_guard_reset
#define value_guard_set						firehose_value_guard_set

#endif							/* FIREHOSE_COMMON_EXPORTS_H */
