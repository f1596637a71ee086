-- What the quality rules look at beside the row itself. Reads `staged` (the new rows of one source, and its
-- stored snapshots before them) and `usual` (gpu, kind, usd: what the market asks).
-- Each step adds columns; no step drops a row.
WITH
by_series AS (
    SELECT series, snapshot_at, min(usd_per_gpu_hour) AS usd, any_value(gpu) AS gpu,
           any_value(kind) AS kind, any_value(provider) AS provider, any_value(gpu_count) AS n,
           any_value(price_per) AS per, bool_or(list_contains(flags, 'total_as_per_gpu')) AS was_total,
           max(observed_at) AS newest
    FROM staged GROUP BY series, snapshot_at
),
moves AS (
    SELECT *, lag(usd) OVER past AS usd_before, lag(usd, 2) OVER past AS usd_before_that,
           max(CASE WHEN was_total THEN usd END) OVER (PARTITION BY series) AS usd_as_total
    FROM by_series WINDOW past AS (PARTITION BY series ORDER BY snapshot_at)
),
-- The day on which the multi-GPU prices of a provider, or of the whole list, move by about their GPU
-- count is the day on which it changed from totals to prices per GPU (down), or back. The change is
-- believed in the direction in which prices come nearer to what is usual: a day that is wrong by itself
-- must not put all the others in the wrong.
counts_moved AS (
    SELECT m.provider, m.snapshot_at,
           abs(m.usd / m.usd_before * m.n - 1) <= 0.25 AND coalesce(
               abs(ln(m.usd / u.usd)) < abs(ln(m.usd_before / u.usd)), true) AS is_down,
           abs(m.usd / m.usd_before / m.n - 1) <= 0.25 AND coalesce(
               abs(ln(m.usd / u.usd)) > abs(ln(m.usd_before / u.usd)), true) AS is_up
    FROM moves m LEFT JOIN usual u ON u.gpu = m.gpu AND u.kind = m.kind
    WHERE m.n >= 2 AND m.per = 'gpu' AND m.usd_before > 0 AND m.usd > 0
),
jumps AS (
    SELECT provider, snapshot_at AS jumped_at, 2 * count(*) FILTER (is_down) >= count(*) AS is_down
    FROM counts_moved
    GROUP BY GROUPING SETS ((provider, snapshot_at), snapshot_at)
    HAVING count(*) >= 3 AND (provider IS NOT NULL OR count(DISTINCT counts_moved.provider) >= 3)
       AND 2 * greatest(count(*) FILTER (is_down), count(*) FILTER (is_up)) >= count(*)
),
sides AS (
    SELECT s.provider, s.snapshot_at, coalesce(
               arg_min(j.is_down, j.jumped_at) FILTER (j.jumped_at > s.snapshot_at),
               NOT arg_max(j.is_down, j.jumped_at) FILTER (j.jumped_at <= s.snapshot_at)
           ) AS is_of_totals
    FROM (SELECT DISTINCT provider, snapshot_at FROM staged) s
    JOIN jumps j ON coalesce(j.provider = s.provider, true)
    GROUP BY s.provider, s.snapshot_at
),
listings AS (
    SELECT snapshot_at,
           coalesce(n_rows * 2 < lag(n_rows) OVER past AND lag(n_rows) OVER past >= 10, false)
           OR coalesce(n_providers * 2 < lag(n_providers) OVER past
                       AND lag(n_providers) OVER past >= 6, false) AS has_shrunk
    FROM (SELECT snapshot_at, count(*) AS n_rows, count(DISTINCT provider) AS n_providers
          FROM staged GROUP BY snapshot_at)
    WINDOW past AS (ORDER BY snapshot_at)
),
-- The day's median across providers of one class, where at least five carry the GPU.
medians AS (
    SELECT gpu, kind, is_hyperscaler, day, median(usd) AS median_usd
    FROM (SELECT gpu, kind, coalesce(tier = 'hyperscaler', false) AS is_hyperscaler,
                 snapshot_at::DATE AS day, min(usd_per_gpu_hour) AS usd
          FROM staged WHERE gpu IS NOT NULL AND price > 0
          GROUP BY gpu, kind, is_hyperscaler, day, provider)
    GROUP BY gpu, kind, is_hyperscaler, day HAVING count(*) >= 5
),
ones AS (
    SELECT snapshot_at, provider, seller, gpu, gpu_raw, kind, tier,
           median(usd_per_gpu_hour) AS usd_of_one
    FROM staged WHERE gpu_count = 1 AND price > 0 GROUP BY ALL
),
on_demand AS (
    SELECT snapshot_at, provider, seller, gpu, gpu_raw, gpu_count, sku, region,
           min(usd_per_hour) FILTER (kind = 'on_demand' AND price > 0) AS on_demand_usd,
           list(usd_per_hour) FILTER (kind = 'spot') AS spots_usd
    FROM staged GROUP BY ALL HAVING on_demand_usd IS NOT NULL
),
spots AS (
    SELECT snapshot_at, provider, sum(len(spots_usd)) AS n_spot_compared,
           sum(len(list_filter(spots_usd, lambda usd: usd = on_demand_usd))) AS n_spot_equal
    FROM on_demand GROUP BY ALL
),
places AS (
    SELECT snapshot_at, provider, sku, kind,
           count(DISTINCT region) AS n_regions, count(DISTINCT price) AS n_prices_by_region
    FROM staged WHERE sku IS NOT NULL GROUP BY ALL
),
shapes AS (
    SELECT snapshot_at, provider, seller,
           count(*) >= 10 AND count(DISTINCT gpu_count) >= 3
           AND min(vcpu) = max(vcpu) AND min(ram_gib) = max(ram_gib) AS is_one_shape
    FROM staged GROUP BY ALL
),
alike AS (
    SELECT snapshot_at, series, observed_at, count(*) AS n_alike,
           min(row(usd_per_hour, origin, line)) AS cheapest
    FROM staged GROUP BY snapshot_at, series, observed_at
),
compared AS (
    SELECT s.*, coalesce(s.tier = 'hyperscaler', false) AS is_hyperscaler, u.usd AS usual_usd,
           m.usd_before, m.usd_before_that, m.usd_as_total, l.has_shrunk, d.median_usd,
           coalesce(j.is_of_totals, false) AS is_of_totals, o.usd_of_one, od.on_demand_usd,
           t.n_spot_compared, t.n_spot_equal, p.n_regions, p.n_prices_by_region,
           coalesce(h.is_one_shape, false) AS is_one_shape,
           a.n_alike, coalesce(s.observed_at = m.newest, true) AS is_newest,
           a.cheapest = row(s.usd_per_hour, s.origin, s.line) AS is_cheapest
    FROM staged s
    LEFT JOIN moves m USING (series, snapshot_at)
    LEFT JOIN listings l USING (snapshot_at)
    LEFT JOIN alike a ON a.snapshot_at = s.snapshot_at AND a.series = s.series
                AND a.observed_at IS NOT DISTINCT FROM s.observed_at
    LEFT JOIN shapes h ON h.snapshot_at = s.snapshot_at
                 AND h.provider = s.provider AND h.seller IS NOT DISTINCT FROM s.seller
    LEFT JOIN sides j ON j.provider = s.provider AND j.snapshot_at = s.snapshot_at
    LEFT JOIN medians d ON d.gpu = s.gpu AND d.kind = s.kind AND d.day = s.snapshot_at::DATE
                       AND d.is_hyperscaler = coalesce(s.tier = 'hyperscaler', false)
    LEFT JOIN usual u ON u.gpu = s.gpu AND u.kind = s.kind
    LEFT JOIN ones o ON o.snapshot_at = s.snapshot_at
                    AND o.provider = s.provider AND o.seller IS NOT DISTINCT FROM s.seller
                    AND o.gpu IS NOT DISTINCT FROM s.gpu AND o.gpu_raw = s.gpu_raw
                    AND o.kind = s.kind AND o.tier IS NOT DISTINCT FROM s.tier
    LEFT JOIN on_demand od ON od.snapshot_at = s.snapshot_at
                    AND od.provider = s.provider AND od.seller IS NOT DISTINCT FROM s.seller
                    AND od.gpu IS NOT DISTINCT FROM s.gpu AND od.gpu_raw = s.gpu_raw
                    AND od.gpu_count = s.gpu_count AND od.sku IS NOT DISTINCT FROM s.sku
                    AND od.region IS NOT DISTINCT FROM s.region
    LEFT JOIN spots t ON t.snapshot_at = s.snapshot_at AND t.provider = s.provider
    LEFT JOIN places p ON p.snapshot_at = s.snapshot_at
                      AND p.provider = s.provider AND p.sku = s.sku AND p.kind = s.kind
)
SELECT *,
    TRY_CAST(coalesce(
        nullif(regexp_extract(sku, '(?:^|[_\- ])(\d{1,2})x[_\-A-KM-Za-km-z]', 1), ''),
        nullif(regexp_extract(sku, '[a-zA-Z0-9]x(\d{1,2})(?:$|[_\- ])', 1), '')
    ) AS DOUBLE) AS count_in_sku,
    CASE regexp_extract(region, '^(us|ca|eu|me|ap|sa|af|il)-[a-z]+-?\d', 1)
        WHEN 'us' THEN ['US']
        WHEN 'ca' THEN ['CA']
        WHEN 'il' THEN ['IL']
        WHEN 'me' THEN ['AE', 'BH', 'IL', 'QA', 'SA', 'OM', 'KW', 'TR']
        WHEN 'sa' THEN ['BR', 'CL', 'CO', 'AR', 'PE']
        WHEN 'af' THEN ['ZA', 'NG', 'KE', 'EG']
        WHEN 'ap' THEN ['JP', 'KR', 'SG', 'IN', 'AU', 'HK', 'TW', 'ID', 'MY', 'TH', 'NZ', 'PH', 'VN']
        WHEN 'eu' THEN ['AT', 'BE', 'BG', 'CH', 'CZ', 'DE', 'DK', 'EE', 'ES', 'FI', 'FR', 'GB', 'GR',
                        'HR', 'HU', 'IE', 'IS', 'IT', 'LT', 'LU', 'LV', 'NL', 'NO', 'PL', 'PT', 'RO',
                        'RS', 'SE', 'SI', 'SK', 'UA']
    END AS region_says
FROM compared
