use lib 't/lib'; use SmartsuppTest::Unit;
SmartsuppTest::Unit::run('spool_damage');
