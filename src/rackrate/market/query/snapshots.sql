-- The listings among the new rows, with a digest of what they say (not of when or how it was read).
SELECT snapshot_at, count(*)::BIGINT AS rows,
    md5(string_agg(
        concat_ws('|', series, gpu_raw, price, currency, price_per, observed_at, available, vcpu,
                  ram_gib, disk_gib, vram_raw_gib, source_url),
        chr(10) ORDER BY series, usd_per_hour, observed_at, line
    )) AS digest,
    bool_or(observed_at IS NOT NULL) AS is_dated,
    bool_or(has_shrunk) AS has_shrunk
FROM graded
GROUP BY snapshot_at
ORDER BY snapshot_at
