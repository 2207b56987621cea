-- Whoever changes what a key may do tells every daemon at once, an administrator with psql too. NOTIFY is part of the
-- transaction: it is heard when the change can be read, and not at all when it is undone.

CREATE FUNCTION routerd_tell_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('routerd_changed', '');
    RETURN NULL;
END
$$;

CREATE TRIGGER api_keys_tell AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION routerd_tell_changed();
CREATE TRIGGER tenants_tell AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON tenants
    FOR EACH STATEMENT EXECUTE FUNCTION routerd_tell_changed();
CREATE TRIGGER tenant_limits_tell AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON tenant_limits
    FOR EACH STATEMENT EXECUTE FUNCTION routerd_tell_changed();
CREATE TRIGGER tenant_budgets_tell AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON tenant_budgets
    FOR EACH STATEMENT EXECUTE FUNCTION routerd_tell_changed();
CREATE TRIGGER users_tell AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION routerd_tell_changed();
CREATE TRIGGER memberships_tell AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON memberships
    FOR EACH STATEMENT EXECUTE FUNCTION routerd_tell_changed();
