use lib 't/lib'; use SmartsuppTest::Unit;
SmartsuppTest::Unit::run('json_memory');
