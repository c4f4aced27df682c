-- One visit to the shop, for pgbench (-D shop=SCALE): everything in one transaction.
\set customer random(1, 200 * :shop)
\set product random(10, 100 * :shop)
\set order random(1, 600 * :shop)
\set new random(1000000, 2000000000)
\set day random(0, 1200)
BEGIN;
UPDATE shop.customer SET last_seen = now(), remark = 'seen ' || :day WHERE id = md5('customer ' || :customer)::uuid;
INSERT INTO shop.click VALUES ('/page/' || :product % 10, now(), '{"live": true}', :product / 7.0);
UPDATE shop.product SET price = (:new % 100000) / 100.0, details = jsonb_build_object('visit', :new) WHERE id = :product;
INSERT INTO shop.orders (id, placed_on, customer, state, total, region)
    VALUES (:new, date '2023-01-01' + :day, md5('customer ' || :customer)::uuid, 'paid', :day, 'north') ON CONFLICT DO NOTHING;
INSERT INTO shop.order_line (order_id, placed_on, region, line, product, quantity, price)
    VALUES (:new, date '2023-01-01' + :day, 'north', 1, :product, 1, 9.99) ON CONFLICT DO NOTHING;
UPDATE shop.orders SET state = 'sent', remark = repeat('on its way ', :day) WHERE id = :order;
DELETE FROM shop.click WHERE ctid = (SELECT ctid FROM shop.click LIMIT 1);
COMMIT;
