-- What a waiting vessel asked for, in the words of reserve_vessel.
-- Parameters: id uuid. Zero rows: it does not wait.
SELECT id, owner_id, name, queues, gpus, models, gpu_memory_mib, wants_millicpus AS millicpus,
       wants_memory_mib AS memory_mib, wants_host_id AS host_id, shm_mib, image, wants_digest AS digest, env, lifetime,
       token_hash, idempotency_key, request_hash, home_from, request
FROM vessel WHERE id = %(id)s::uuid AND state = 'queued'
