"""The operator: GenerationJobs of a cluster become pods, FunctionRunners become pools of warm workers."""
