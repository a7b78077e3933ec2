/*
 * stat.h
 *		The state of pipelines.
 */
#ifndef FIREHOSE_PIPELINE_STAT_H
#define FIREHOSE_PIPELINE_STAT_H

extern void pipeline_stat_define_settings(void);

#endif							/* FIREHOSE_PIPELINE_STAT_H */
