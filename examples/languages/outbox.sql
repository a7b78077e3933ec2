-- An outbox for frameworks: what is inserted is put, and nothing is stored.
-- An INSERT is what every ORM knows; its RETURNING gives the record's id.
CREATE VIEW outbox AS
    SELECT NULL::bigint AS id, NULL::text AS stream, NULL::jsonb AS data WHERE false;
CREATE FUNCTION outbox_put() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.id := firehose_put_json(NEW.stream, NEW.data);
    RETURN NEW;
END $$;
CREATE TRIGGER put INSTEAD OF INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION outbox_put();
