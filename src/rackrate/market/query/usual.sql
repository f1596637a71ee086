-- What the market asks for a GPU under a kind, USD per GPU-hour: from what the caller knows (`asked`),
-- else the on-demand price known there, else the median over providers of the new rows themselves.
WITH own AS (
    SELECT gpu, kind, median(usd) AS usd
    FROM (SELECT gpu, kind, provider, median(usd_per_gpu_hour) AS usd
          FROM staged WHERE gpu IS NOT NULL AND price > 0 GROUP BY gpu, kind, provider)
    GROUP BY gpu, kind HAVING count(*) >= 3
)
SELECT gpu, kind, coalesce(a.usd, d.usd, o.usd) AS usd
FROM (SELECT DISTINCT gpu, kind FROM staged WHERE gpu IS NOT NULL)
LEFT JOIN asked a USING (gpu, kind)
LEFT JOIN (SELECT gpu, usd FROM asked WHERE kind = 'on_demand') d USING (gpu)
LEFT JOIN own o USING (gpu, kind)
