-- The listings among the new rows, with a digest of what they say (not of when or how it was read).
SELECT snapshot_at, count(*)::BIGINT AS rows,
    md5(string_agg(
        concat_ws('|', series, gpu_raw, price, currency, price_per, observed_at, available, vcpu,
                  ram_gib, disk_gib, vram_raw_gib, source_url,
                  'storage ' || round(storage_usd_per_gb_month / usd_per_unit, 9),
                  'disk ' || included_disk_gb, 'egress ' || round(egress_usd_per_gb / usd_per_unit, 9),
                  'sent ' || included_egress_gb_per_month,
                  'ingress ' || round(ingress_usd_per_gb / usd_per_unit, 9), 'least ' || min_rental_s),
        chr(10) ORDER BY series, usd_per_hour, observed_at, line
    )) AS digest,
    bool_or(observed_at IS NOT NULL) AS is_dated,
    bool_or(has_shrunk) AS has_shrunk
FROM graded
GROUP BY snapshot_at
ORDER BY snapshot_at
